"""`python -m stitchrl.generate dataset=NAME [overrides] [-m]`: generate, certify and store a dataset."""

import os
import sys

from stitchrl.command import CONF, guarded, job, plain  # first: it sets up Hydra's error handling

import hydra  # isort: skip
from omegaconf import DictConfig

from stitchrl import factory
from stitchrl.__main__ import dataset_spec
from stitchrl.data.formats import minari


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="generate")
@job
def main(config: DictConfig) -> None:
    values = plain(config)
    spec = dataset_spec(values["dataset"])
    if not (values["if_missing"] and minari.folder(spec.name).exists()):
        factory.generate(spec, values["workers"] or os.cpu_count() or 1)
    metadata = minari.read_metadata(spec.name)
    manifest, certificate = metadata["manifest"], metadata["certificate"]
    print(f"{minari.folder(spec.name)}: {manifest['episodes']} episodes, {manifest['transitions']} transitions")
    print(f"sha256 {manifest['dataset_sha256']}; certificate {'passes' if certificate['pass'] else 'FAILS'}")
    for problem in certificate.get("problems", []):
        print(f"  {problem}", file=sys.stderr)


if __name__ == "__main__":
    guarded(main)
