"""YAML in which a key may be given only once, and errors that name their line."""

from __future__ import annotations

from typing import Any

import yaml

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class YamlError(ValueError):
    """The text is not valid YAML. The message has the line, if the text has several."""


def parse(text: str) -> Any:
    """The value of a YAML document.

    Raises:
        YamlError: it is not valid, a mapping has a key twice, or it is nested too deeply.
    """
    try:
        loader = _Loader(text)
    # A character that YAML does not allow.
    except yaml.YAMLError as error:
        raise YamlError(" ".join(str(error).split())) from error
    try:
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line if error.problem_mark else loader.line
        raise YamlError(_message(text, line, error.problem or str(error))) from error
    except RecursionError as error:
        raise YamlError(_message(text, loader.line, "it is nested too deeply")) from error
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which by default keeps the last of several equal keys.

    A number with colons is a text.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        # YAML 1.1 reads 1:30 as the number 90.
        if isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS and ":" in node.value:
            return node.value
        try:
            return super().construct_object(node, deep)
        # Valid syntax with an invalid value, such as the date 2024-99-99.
        except ValueError as error:
            raise yaml.MarkedYAMLError(problem=str(error), problem_mark=node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set[tuple[str, str]]()
        for key, _ in node.value:
            # The keys of an anchor that is merged by `<<` may be given again.
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if (key.tag, key.value) in keys:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} is given twice", problem_mark=key.start_mark
                )
            keys.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def _message(text: str, line: int, problem: str) -> str:
    return f"line {line + 1}: {problem}" if "\n" in text else problem
