"""Building what is measured."""

import json
import pathlib
import subprocess


def build(root, package, profile):
    """Builds `package` and returns the folder of its programs."""
    # The folder is asked of cargo, so that a target folder set elsewhere is found.
    command = ["cargo", "build", "--quiet", "--bins", "--package", package, "--profile", profile]
    subprocess.run(command, cwd=root, check=True)
    metadata = ["cargo", "metadata", "--format-version=1", "--no-deps"]
    answer = subprocess.run(metadata, cwd=root, check=True, capture_output=True)
    return pathlib.Path(json.loads(answer.stdout)["target_directory"]) / profile
