"""Options of targets with a few fields of their own: only the channels in `names` are selected."""

from collections.abc import Collection

import msgspec

from services.uploader.options import TargetOptions

EVERYTHING = ("*/*/*",)


def select(options: TargetOptions, fields: Collection[str]) -> None:
    """Reduce `channels` to the patterns of `names`, unless they are chosen; raise ValueError for a name that is not a field.

    For `__post_init__`: the options of others stay as they are.
    """
    for name in options.names.values():
        if name not in fields:
            raise ValueError(f"names: {name!r} is not one of {', '.join(fields)}")
    if options.name_template:
        return
    if not options.names:
        raise ValueError(f'names: is empty; "*/meter/power" = "{next(iter(fields))}" is an entry')
    if options.channels == EVERYTHING:
        msgspec.structs.force_setattr(options, "channels", tuple(options.names))
