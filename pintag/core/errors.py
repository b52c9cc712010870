"""The exceptions of pintag. A message names what is wrong, where, and what to do about it."""


class PintagError(Exception):
    """The base class of every exception that pintag raises on purpose."""


class ImageError(PintagError):
    """The input cannot be decoded to an image."""


class NotAnImageError(ImageError):
    """The input is not an image, or one that is cut off or damaged."""


class ImageTooLargeError(ImageError):
    """The image has more bytes or pixels than allowed."""


class UnsupportedFormatError(ImageError):
    """The input is an image in a format that is not accepted."""


class DecodingError(ImageError):
    """Decoding the image takes too long or too much memory, or crashes the decoder."""


class DataError(PintagError):
    """A data set is missing, unreadable or unusable."""


class ConfigError(PintagError):
    """A configuration has an unknown key or a wrong value."""


class WeightsError(PintagError):
    """Pretrained weights cannot be found, downloaded or loaded."""


class BundleError(PintagError):
    """A model bundle is missing, incomplete or altered, or lacks a requested engine."""


class ClusterError(PintagError):
    """There is no Ray cluster, or a job on it was lost."""


class TrainingError(PintagError):
    """Training cannot start, or failed."""


class ExplainError(PintagError):
    """An explanation cannot be computed with these parameters."""


class ServerError(PintagError):
    """A server cannot start, cannot be reached, or returned an error."""


def first_line(error: BaseException) -> str:
    """The first line with text of an error's message, or the name of its class if it has none."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)


def summary(error: BaseException) -> str:
    """The class of an error of another library and the beginning of its message, in one line."""
    name, line = type(error).__name__, first_line(error)
    return name if line == name else f"{name}: {line[:300]}"
