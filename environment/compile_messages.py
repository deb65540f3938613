"""Compile ROS 2 message packages with nothing but the ROS wheels, gcc and g++.

Usage, with the environment's own Python: compile_messages.py BUILD_FOLDER PACKAGE_FOLDER...

The wheels bring every rosidl generator along, so neither cmake nor ament is needed: .msg -> .idl ->
type hashes -> C, C++ and Python sources -> one extension module a package, which holds the Python
conversion and the C type supports. Type hashes and bytes on the wire are those of an ordinary build. Packages may use the wheels' messages, not each other's; services
and actions are not handled.
"""
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
import json
import os
from pathlib import Path
import shutil
import subprocess
import sys
import sysconfig

import numpy
from rosidl_adapter.msg import convert_msg_to_idl
from rosidl_generator_c import generate_c
from rosidl_generator_py import generate_py
from rosidl_generator_type_description import generate_type_hash
from rosidl_typesupport_c import generate_c as generate_typesupport_c
from rosidl_typesupport_fastrtps_c import generate_typesupport_fastrtps_c
from rosidl_typesupport_introspection_c import generate_c as generate_introspection_c

PREFIX = Path(sys.prefix)
SHARE = PREFIX / 'share'
SITE_PACKAGES = Path(sysconfig.get_path('platlib'))
# what rmw_fastrtps asks for: how to serialise a message, and what its fields are
TYPE_SUPPORTS = ('rosidl_typesupport_fastrtps_c', 'rosidl_typesupport_introspection_c')
COMPILERS = {'.c': ('gcc', '-std=gnu11'), '.cpp': ('g++', '-std=c++17')}


def generate(package: Path, build: Path) -> Path:
    """Write the .idl files and all sources of a message package to build/<name>; return that."""
    out = build / package.name
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(package / 'msg', out / 'msg')
    for message in sorted((out / 'msg').glob('*.msg')):
        convert_msg_to_idl(out, out.name, message.relative_to(out), out / 'msg')
    generate_type_hash(write_arguments(out, 'rosidl_generator_type_description'))
    for generator in ('rosidl_generator_c', *TYPE_SUPPORTS):
        write_visibility_header(out, generator)
    generate_c(write_arguments(out, 'rosidl_generator_c'))
    generate_typesupport_fastrtps_c(write_arguments(out, 'rosidl_typesupport_fastrtps_c'))
    generate_introspection_c(write_arguments(out, 'rosidl_typesupport_introspection_c'))
    generate_typesupport_c(write_arguments(out, 'rosidl_typesupport_c'), list(TYPE_SUPPORTS))
    generate_py(write_arguments(out, 'rosidl_generator_py'), ['rosidl_typesupport_c'])
    (out / '__init__.py').touch()
    return out


def write_arguments(out: Path, generator: str) -> str:
    """Write the arguments file that a rosidl generator reads; return its path."""
    names = [path.stem for path in sorted((out / 'msg').glob('*.msg'))]
    arguments = {
        'package_name': out.name,
        'output_dir': str(out),
        'template_dir': str(SHARE / generator / 'resource'),
        'idl_tuples': [f'{out}:msg/{name}.idl' for name in names],
        'type_description_tuples': [f'msg/{name}.idl:{out}/msg/{name}.json' for name in names],
        'ros_interface_files': [f'{out}/msg/{name}.msg' for name in names],
        'include_paths': [f'{path.parent.name}:{path.parent}' for path in SHARE.glob('*/msg')],
        'target_dependencies': [],
    }
    path = out / f'{generator}.json'
    path.write_text(json.dumps(arguments))
    return str(path)


def write_visibility_header(out: Path, generator: str) -> None:
    """Fill in the header that cmake makes from a template in an ordinary build."""
    name = f'{generator}__visibility_control.h'
    template = (SHARE / generator / 'resource' / f'{name}.in').read_text()
    (out / 'msg' / name).write_text(template.replace('@PROJECT_NAME@', out.name)
                                    .replace('@PROJECT_NAME_UPPER@', out.name.upper()))


def include_options(build: Path) -> list[str]:
    """Return the -I options: what was generated, numpy, Python, and every folder of the wheels."""
    include = PREFIX / 'include'
    wheels = [include, *(path for path in include.iterdir() if path.is_dir())]
    return [f'-I{path}' for path in
            (build, numpy.get_include(), sysconfig.get_path('include'), *wheels)]


def compile_units(out: Path) -> list[Path]:
    """Gather a package's sources in few files to compile: headers are most of the work.

    The descriptions stay apart, since they define the same static names over and over.
    """
    sources = [path for path in sorted(out.rglob('*')) if path.suffix in COMPILERS]
    units = [path for path in sources if path.stem.endswith('__description')]
    for suffix in COMPILERS:
        gathered = [path for path in sources if path.suffix == suffix and path not in units]
        units.append(out / f'all{suffix}')
        units[-1].write_text(''.join(f'#include "{path}"\n' for path in gathered))
    return units


def compile_source(source: Path, options: list[str]) -> Path:
    """Compile one C or C++ file to an object file beside it."""
    target = source.with_suffix(f'{source.suffix}.o')
    subprocess.run([*COMPILERS[source.suffix], '-O1', '-fPIC', '-w',
                    '-c', source, '-o', target, *options], check=True)
    return target


def extension_name(out: Path) -> str:
    """File name of a package's extension module."""
    return f'{out.name}_s__rosidl_typesupport_c{sysconfig.get_config_var("EXT_SUFFIX")}'


def link(out: Path) -> None:
    """Link all object files of a package to the extension module that its Python part imports."""
    libraries = [path for path in (PREFIX / 'lib').glob('lib*.so')
                 if path.name.startswith('librosidl') or '__rosidl_' in path.name]
    subprocess.run(['g++', '-shared', '-o', out / extension_name(out), *sorted(out.rglob('*.o')),
                    '-Wl,--as-needed', '-Wl,-rpath,$ORIGIN/../../..', *libraries,
                    PREFIX / 'lib/librcutils.so', PREFIX / 'lib/libfastcdr.so'], check=True)


def install(out: Path) -> None:
    """Put Python module, definitions and ament index entries where an ordinary build puts them."""
    replace_tree(out, SITE_PACKAGES / out.name, ('.py', '.so'))
    replace_tree(out / 'msg', SHARE / out.name / 'msg', ('.msg', '.idl', '.json'))
    for support in TYPE_SUPPORTS:  # the type supports are looked for as libraries of these names
        library = PREFIX / 'lib' / f'lib{out.name}__{support}.so'
        library.unlink(missing_ok=True)
        library.symlink_to(SITE_PACKAGES / out.name / extension_name(out))
    index = SHARE / 'ament_index/resource_index'
    (index / 'packages' / out.name).touch()
    interfaces = sorted(path for path in out.glob('msg/*') if path.suffix in ('.idl', '.msg'))
    (index / 'rosidl_interfaces' / out.name).write_text(
        '\n'.join(path.relative_to(out).as_posix() for path in interfaces))


def replace_tree(source: Path, target: Path, suffixes: tuple[str, ...]) -> None:
    """Copy the files of a folder that have one of the suffixes in place of an older copy."""
    shutil.rmtree(target, ignore_errors=True)
    for path in source.rglob('*'):
        if path.suffix in suffixes:
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target / path.relative_to(source))


def main(build: Path, packages: list[Path]) -> None:
    """Build and install the message packages on all cores."""
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores) as processes:
        outs = list(processes.map(generate, packages, [build] * len(packages)))
    options = include_options(build)
    units = [unit for out in outs for unit in compile_units(out)]
    with ThreadPoolExecutor(cores) as threads:
        list(threads.map(compile_source, units, [options] * len(units)))
    for out in outs:
        link(out)
        install(out)


if __name__ == '__main__':
    try:
        main(Path(sys.argv[1]).resolve(), [Path(folder).resolve() for folder in sys.argv[2:]])
    except subprocess.CalledProcessError as error:
        sys.exit(f'{error.cmd[0]} stopped with code {error.returncode}')
