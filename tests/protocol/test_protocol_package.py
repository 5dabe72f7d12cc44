# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import protocol
from protocol import EXPLANATIONS, ErrorCode, MakeRealError

FOLDER = Path(protocol.__file__).parent
MODULES = sorted(FOLDER.glob("*.py"))
ALLOWED = {*sys.stdlib_module_names, "msgpack", "numpy", "zmq"}
FORBIDDEN = {"asyncio", "concurrent", "multiprocessing", "pickle", "subprocess", "threading"}


def test_public_names_are_listed_once_and_exist() -> None:
    assert len(set(protocol.__all__)) == len(protocol.__all__)
    for name in protocol.__all__:
        assert hasattr(protocol, name)
    tree = ast.parse((FOLDER / "__init__.py").read_text(encoding="utf-8"))
    imported = [alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(protocol.__all__) == sorted(imported)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_module_imports_its_own_package_relatively_and_little_else(module: Path) -> None:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        for name in names:
            top = name.partition(".")[0]
            assert top in ALLOWED - FORBIDDEN, f"{module.name} imports {name}"


def test_the_package_works_inside_another_under_another_name(tmp_path: Path) -> None:
    (tmp_path / "extension").mkdir()
    (tmp_path / "extension" / "__init__.py").touch()
    (tmp_path / "extension" / "wire").symlink_to(FOLDER, target_is_directory=True)
    code = (
        "import sys; import extension.wire as wire; "
        "wire.Client; assert 'protocol' not in sys.modules, 'imported itself absolutely'; "
        "assert wire.MakeRealError.__module__ == 'extension.wire.errors'"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, check=True, timeout=60)


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_says_what_happened_and_what_to_do(code: ErrorCode) -> None:
    explanation = EXPLANATIONS[code]
    for text in (explanation.sentence, explanation.remedy):
        assert text.endswith(".")
        assert text[0].isupper()
    message = MakeRealError(code, "frame 12").message
    assert "(frame 12)" in message
    assert message.endswith(explanation.remedy)


def test_a_detail_is_cut_to_what_may_travel() -> None:
    assert len(MakeRealError(ErrorCode.INTERNAL, "x" * 10_000).detail) == 4096
