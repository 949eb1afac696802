"""What can go wrong before and during a deployment."""

from coffre.model.errors import PermanentError


class BundleError(PermanentError):
    """The built template and layers are missing, damaged, or of another architecture."""

    default_code = "BUNDLE_DAMAGED"


class DeployBucketError(PermanentError):
    """The bucket for the code cannot be made or written."""

    default_code = "DEPLOY_BUCKET"


class DeployError(PermanentError):
    """CloudFormation refused the deployment, or it failed."""

    default_code = "DEPLOY_FAILED"
