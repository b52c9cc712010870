"""What can go wrong, by kind. Every message names the thing and, where there is one, the remedy."""


class PintagError(Exception):
    """The root of every error that pintag raises on purpose."""


class ImageError(PintagError):
    """The bytes given cannot become an image."""


class NotAnImageError(ImageError):
    """The bytes are no image at all, or a corrupt one."""


class ImageTooLargeError(ImageError):
    """The image has more bytes or pixels than the limits allow."""


class UnsupportedFormatError(ImageError):
    """The bytes are an image of a format that is not accepted."""


class DataError(PintagError):
    """A data set is missing, unreadable or unusable."""


class ConfigError(PintagError):
    """A configuration has an unknown key or a bad value."""


class WeightsError(PintagError):
    """Pretrained weights cannot be found, fetched or loaded."""


class BundleError(PintagError):
    """A model bundle is missing, incomplete or not what its manifest says."""


class ClusterError(PintagError):
    """There is no Ray cluster to run on, or a job on it was lost."""


class TrainingError(PintagError):
    """A fit cannot start, or failed."""


class ExplainError(PintagError):
    """An explanation cannot be made as it was asked for."""


class ServerError(PintagError):
    """A server cannot start, cannot be reached or answered with an error."""
