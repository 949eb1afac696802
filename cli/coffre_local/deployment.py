"""The repository's template, built by SAM and deployed to the local AWS."""

import hashlib
import json
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import yaml

from coffre_local.aws import isolated, session
from coffre_local.errors import DeploymentError
from coffre_local.exclusive import exclusive
from coffre_local.local_template import MACHINE, Template, bootstrap, functions_of, localised, with_local_console
from coffre_local.program_files import copy_tree
from coffre_local.toolchain import CHECKOUT, Toolchain, quiet

MACHINES = "statemachine"
# What a build depends on, besides the tools.
SOURCES = ("template.yaml", "functions", "layers", MACHINES)
NOT_SOURCES = {"__pycache__", "libcopydata.so", "libsha256.so", ".mypy_cache", ".ruff_cache"}
# AWS's runtime client and what it imports: all that Lambda adds to a function besides its layers.
RUNTIME_CLIENT = ("awslambdaric", "runtime_client*.so", "snapshot_restore_py", "simplejson")
STAMP = "inputs"
_DEFINITION = re.compile(r"^ +DefinitionUri: (\.\./\S+)$", re.MULTILINE)


class Deployment:
    """Builds the template of one checkout once, and deploys it as often as wanted.

    Parameters
    ----------
    directory
        Deployed copies of the code go below it. The functions run from there: it has to stay while they do.
    checkout
        Directory with `template.yaml`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        checkout: Path = CHECKOUT,
        toolchain: Toolchain | None = None,
        on_step: Callable[[str], None] = quiet,
    ) -> None:
        self.directory = directory
        self._checkout = checkout
        self._toolchain = toolchain or Toolchain(on_step=on_step)
        self._on_step = on_step

    def deploy(self, environment: Mapping[str, str], stack: str, parameters: Mapping[str, str]) -> dict[str, str]:
        """Build what changed, deploy it as a stack, and return the stack's outputs.

        Parameters
        ----------
        environment
            `LocalAws.environment()`.
        parameters
            Values of the template's parameters.

        Raises
        ------
        DeploymentError
            SAM refused; the detail has its last words.
        """
        with self._alone():
            staged = self.stage(self._built(), parameters)
        staged.write_text(with_local_console(staged.read_text(), environment["AWS_ENDPOINT_URL"]))
        self._on_step(f"Deploying the template as {stack}")
        bucket = f"{stack}-code"
        _make_bucket(environment, bucket)
        self._sam_deploy(staged, environment, stack, bucket, parameters)
        return outputs_of(environment, stack)

    def fingerprint(self) -> str:
        """Return what a build of the sources as they are now would be made of."""
        return digest_of(self._checkout, [self._toolchain.sam().parent.parent / ".ready"])

    def build(self) -> Path:
        """Build what changed since the last build, for this machine; return where `sam build` wrote it.

        One process at a time builds a checkout; others wait, and use what it built.
        """
        with self._alone():
            return self._built()

    def _alone(self) -> AbstractContextManager[None]:
        return exclusive(self._checkout / ".aws-sam" / "local.lock")

    def _built(self) -> Path:
        place = self._checkout / ".aws-sam" / "local"
        built, stamp = place / "build", place / STAMP
        inputs = self.fingerprint()
        if built.is_dir() and stamp.exists() and stamp.read_text() == inputs:
            return built
        stamp.unlink(missing_ok=True)
        self._on_step("Building the template")
        arguments = ["build", "--cached", "--parallel", "--template", "template.yaml"]
        arguments += ["--parameter-overrides", f"Architecture={_architecture()}"]
        self._sam([*arguments, "--build-dir", str(built), "--cache-dir", str(place / "cache")], {})
        with_definitions(built)
        stamp.write_text(inputs)
        return built

    def stage(self, built: Path, parameters: Mapping[str, str]) -> Path:
        """Copy the built code next to its bootstraps, out of reach of the next build, and write the local template.

        Parameters
        ----------
        parameters
            Values of the template's parameters: its conditions are decided by them.

        Returns
        -------
        Path
            The template, in a directory that has everything else that is deployed.
        """
        template: Template = yaml.safe_load((built / "template.yaml").read_text())
        for resource in template["Resources"].values():
            if resource["Type"] == MACHINE:
                # `sam build` leaves it where it is, and a build is shared: that checkout may be gone.
                definition = Path(resource["Properties"]["DefinitionUri"]).name
                resource["Properties"]["DefinitionUri"] = str(self._checkout / MACHINES / definition)
        place = Path(tempfile.mkdtemp(prefix="code-", dir=self.directory))
        client = place / "runtime"
        self._stage_runtime_client(client)
        code = {}
        for function in functions_of(template):
            target = place / "functions" / function.name
            layers = [place / "layers" / layer for layer in function.layers]
            for layer in layers:
                if not layer.exists():
                    copy_tree(built / layer.name, layer)
            copy_tree(built / function.name, target)
            script = target / "bootstrap"
            script.write_text(bootstrap(_bare_python(), client, layers))
            script.chmod(0o755)
            code[function.name] = str(target)
        staged = place / "template.yaml"  # JSON is YAML
        staged.write_text(json.dumps(localised(template, code, parameters), indent=1))
        return staged

    def _stage_runtime_client(self, client: Path) -> None:
        packages = next((self._toolchain.ministack() / "lib").glob("python3*/site-packages"))
        client.mkdir(parents=True)
        for pattern in RUNTIME_CLIENT:
            for source in packages.glob(pattern):
                (client / source.name).symlink_to(source)

    def _sam_deploy(
        self, staged: Path, environment: Mapping[str, str], stack: str, bucket: str, parameters: Mapping[str, str]
    ) -> None:
        arguments = ["deploy", "--template-file", str(staged), "--stack-name", stack, "--s3-bucket", bucket]
        arguments += ["--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
        arguments += ["--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"]
        if parameters:
            # A file: on the command line a space or a comma in a value would end it.
            values = staged.with_name("parameters.yaml")
            values.write_text(yaml.safe_dump(dict(parameters)))
            arguments += ["--parameter-overrides", f"file://{values}"]
        self._sam(arguments, environment)

    def _sam(self, arguments: list[str], environment: Mapping[str, str]) -> None:
        own = {
            "SAM_CLI_TELEMETRY": "0",
            # SAM asks every 5 seconds how far a deployment is.
            "SAM_CLI_POLL_DELAY": "0.2",
            "__SAM_CLI_APP_DIR": str(self._checkout / ".aws-sam" / "local" / "settings"),
            "AWS_DEFAULT_REGION": environment.get("AWS_REGION", "eu-west-1"),
        }
        child = isolated({**environment, **own})
        # `sam build` looks for the functions' python3.13 on PATH.
        child["PATH"] = f"{Path(sys.executable).parent}:{child.get('PATH', '')}"
        child.pop("PYTHONPATH", None)
        # SAM leaves directories behind where temporary files go.
        with tempfile.TemporaryDirectory(prefix="sam-", dir=self.directory) as scratch:
            child["TMPDIR"] = scratch
            result = subprocess.run(
                [str(self._toolchain.sam()), *arguments],
                cwd=self._checkout,
                env=child,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        if result.returncode:
            said = "\n".join((result.stdout + result.stderr).strip().splitlines()[-25:])
            raise DeploymentError(f"`sam {arguments[0]}` failed.", code="LOCAL_SAM", detail=said)


def with_definitions(built: Path) -> None:
    """Put the definitions of state machines next to the built template: `sam build` leaves them in the checkout.

    A build is shared by checkouts, of which some are gone soon, and a program that uses it does not change it.
    """
    template = built / "template.yaml"
    text = template.read_text(encoding="utf-8")
    if not (found := set(_DEFINITION.findall(text))):
        return
    for uri in found:
        source = (built / uri).resolve()
        (built / source.name).write_bytes(source.read_bytes())
        text = text.replace(uri, source.name)
    template.write_text(text, encoding="utf-8")


def outputs_of(environment: Mapping[str, str], stack: str) -> dict[str, str]:
    """Return the outputs of a deployed stack."""
    client = session(environment).client("cloudformation", endpoint_url=environment["AWS_ENDPOINT_URL"])
    [description] = client.describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in description.get("Outputs", [])}


def _make_bucket(environment: Mapping[str, str], name: str) -> None:
    client = session(environment).client("s3", endpoint_url=environment["AWS_ENDPOINT_URL"])
    if name not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
        place = {"LocationConstraint": environment["AWS_REGION"]}
        client.create_bucket(Bucket=name, CreateBucketConfiguration=place)  # type: ignore[arg-type]


def digest_of(checkout: Path, others: list[Path]) -> str:
    """Return a SHA-256 over the names and contents of everything that a build reads."""
    digest = hashlib.sha256()
    for source in SOURCES:
        root = checkout / source
        files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
        for file in files:
            if not NOT_SOURCES & set(file.parts):
                digest.update(f"{file.relative_to(checkout)}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    for other in others:
        digest.update(other.read_bytes())
    return digest.hexdigest()


def _architecture() -> str:
    """Return this machine's architecture by Lambda's name: what is built here has to run here."""
    return "arm64" if platform.machine() in {"aarch64", "arm64"} else "x86_64"


def _bare_python() -> Path:
    """Return the interpreter that the virtual environment was made of."""
    return Path(sys.executable).resolve()
