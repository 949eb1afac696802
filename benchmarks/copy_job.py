"""One copy of a backup from a vault into another, as the function does it; the process that benchmarks measure.

Run as `python -m benchmarks.copy_job ENDPOINT FROM TO RECORD [within]`: two buckets of one store that speaks S3, and a
file with the catalog's record of the backup as JSON. The access key is the environment's. `within`: as within AWS,
where S3 copies by itself.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from botocore.session import get_session

from coffre.buckets.client import make_bucket_client
from coffre.model.backup import Backup
from coffre.model.bucket_target import ObjectStore
from coffre.operations.copy.copy_backup import CopyJob, copy_backup
from coffre.stores import transfer
from coffre.stores.request_counts import Tally
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.vault.vault import Vault


def main() -> None:
    """Copy, and print what it took."""
    endpoint, source, destination, record, *within = sys.argv[1:]
    if within:
        server: Any = vars(transfer)["_ServerCopy"]
        server.between = server  # as if both were in AWS
    tally = Tally()
    session = get_session()  # both have one, as in the function
    store = ObjectStore.model_construct(endpoint=endpoint, region="us-east-1")
    there = make_bucket_client(store, None, session=session, connections=16)
    here = make_client(session=session, region="us-east-1", endpoint_url=endpoint)
    sent = copy_backup(
        CopyJob(
            source=Vault(S3Store(source, client=here)),
            destination=Vault(
                S3Store(destination, client=tally.watch(there, "source"), count=tally.counter(there, "source"))
            ),
            backup=Backup.model_validate_json(Path(record).read_text()),
            name=destination,
        )
    )
    told = {
        "packs": sent.packs,
        "bytes": sent.bytes,
        "requests": tally.requests(),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
