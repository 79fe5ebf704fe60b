"""The JSON API of replays: start one, look how it goes on, see what it drew."""

from fastapi import APIRouter
from fastapi.responses import FileResponse

from l2l_snn.dashboard import models, read_individual
from l2l_snn.dashboard.addresses import Index, RunName
from l2l_snn.dashboard.replays import Key, Replays
from l2l_snn.storage.store import Store


def router(store: Store, replays: Replays) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/runs/{run}/individuals/{generation}/{index}/replay", tags=["replay"])

    def key(run: str, generation: int, index: int) -> Key:
        stored = store.load(run)
        read_individual.detail(store, stored, generation, index)  # refuses what isn't there
        return Key(stored.name, stored.id, generation, index)

    @routes.post("", status_code=202, responses={429: {"model": models.Error}})
    def start(run: RunName, generation: Index, index: Index) -> models.Replay:
        """Repeat this evaluation in a process of its own; one at a time, the others wait."""
        return replays.start(key(run, generation, index))

    @routes.get("")
    def get(run: RunName, generation: Index, index: Index) -> models.Replay:
        """Return how far the replay is."""
        return replays.get(key(run, generation, index))

    @routes.delete("")
    def cancel(run: RunName, generation: Index, index: Index) -> models.Replay:
        """End the replay."""
        return replays.cancel(key(run, generation, index))

    @routes.get(
        "/{picture}", response_class=FileResponse, responses={200: {"content": {"image/png": {}, "image/gif": {}}}}
    )
    def picture(run: RunName, generation: Index, index: Index, picture: str) -> FileResponse:
        """Return a picture that it drew."""
        path = replays.picture(key(run, generation, index), picture)
        if path is None:
            raise read_individual.Missing(f"the replay has no picture {picture[:100]!r}")
        return FileResponse(path)

    return routes
