"""Parts of the API's addresses, with what they may be."""

from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator

from l2l_snn.storage.records import clean

RunName = Annotated[str, Path(max_length=100, description="name of a run"), AfterValidator(clean)]
Index = Annotated[int, Path(ge=0, le=2**31 - 1)]
