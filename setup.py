from skbuild import setup

PACKAGE = "steadfast/python/package"

setup(
    name="steadfast",
    version="0.1.0",
    description="Breaks the memory that holds quantized networks, and measures what it costs",
    packages=["steadfast"],
    package_dir={"steadfast": PACKAGE},
    package_data={"steadfast": ["py.typed", "_steadfast.pyi"]},
    cmake_args=[
        "-GNinja",
        "-DCMAKE_BUILD_TYPE=Release",
        "-DSTEADFAST_PYTHON=ON",
        "-DSTEADFAST_TRAIN=OFF",
        "-DSTEADFAST_TESTS=OFF",
        f"-DSTEADFAST_PYTHON_FOLDER={PACKAGE}",
    ],
    cmake_install_target="install-python",
    python_requires=">=3.9",
    install_requires=["numpy"],
)
