"""What a store of checkpoints holds."""

from mailpush.listener.catchup.store import Checkpoint, CheckpointStore, Folder


async def stored(store: CheckpointStore, folder: Folder) -> Checkpoint | None:
    """The checkpoint of one folder, as the next owner finds it."""
    return (await store.of_user(folder.context_id, folder.user_id)).get(folder.name)
