"""Errors that are the user's to mend: the message is the whole story, no stack trace is needed."""


class CrossfaceError(Exception):
    """Base of all errors whose message tells a user what to change."""


class ConfigError(CrossfaceError):
    """A configuration is wrong. The message has one line a fault, each naming its key."""


class DataError(CrossfaceError):
    """The data break a promise that a step cannot work around. The message names the file."""
