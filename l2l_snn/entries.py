"""The base class of all parts of a job file that pydantic reads."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidatorFunctionWrapHandler, field_validator


class Entries(BaseModel):
    """A mapping of a job file: no other keys than its fields, and true is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="wrap")
    @classmethod
    def refuse_booleans(cls, value: Any, read: ValidatorFunctionWrapHandler) -> Any:
        """Return a field's value; pydantic would read true as 1.

        Raises:
            ValueError: a number was expected, and it is true or false.
        """
        found = read(value)
        if isinstance(value, bool) and not isinstance(found, bool):
            raise ValueError("expected a number")
        return found
