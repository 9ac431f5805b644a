"""The package `paceline`: time-to-accuracy benchmarks for training recipes."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "bench" / "__init__.py").read_text(encoding="utf-8"))[1]
EXTRAS = {
    "browser": ["playwright>=1.50", "axe-playwright-python>=0.1.4"],  # for the tests of the page, as Chromium itself
    "cluster": ["ray>=2.50"],
    "completion": ["argcomplete>=3.5"],
    "dali": ["nvidia-dali-cuda130>=2.0; platform_system == 'Linux' and platform_machine == 'x86_64'"],
    "deepspeed": ["deepspeed>=0.19.8; platform_system == 'Linux'"],
    "docs": ["mkdocs>=1.6", "mkdocs-material>=9.6", "mkdocstrings[python]>=0.29"],
    "lightning": ["lightning>=2.5"],  # for an example of docs/examples, as transformers
    "mlperf": ["mlperf-logging>=4.1"],
    "query": ["duckdb>=1.4", "pandas>=2.2"],
    "report": ["plotly>=6.1", "jinja2>=3.1", "kaleido>=1.0", "matplotlib>=3.9"],
    "search": ["optuna>=4.0"],
    "track": ["tensorboard>=2.18", "matplotlib>=3.9"],
    "transformers": ["transformers>=5"],
    "triton": ["triton>=3.4"],  # beside a CPU torch, whose tests then interpret the kernels; CUDA builds bring it
    "test": [
        "pytest>=9",
        "pytest-benchmark>=5.3",
        "pytest-xdist>=3.6",
        "hypothesis>=6.100",
        "ruff>=0.9",
        "check-jsonschema>=0.30",
    ],
}
EXTRAS["all"] = sorted(
    {package for name, packages in EXTRAS.items() if name not in ("browser", "docs", "test") for package in packages}
)
for name in ("cluster", "completion", "deepspeed", "mlperf", "query", "report", "search", "track"):
    EXTRAS["test"] += EXTRAS[name]

setup(
    name="paceline",
    version=VERSION,
    description="Time-to-accuracy benchmarks for training recipes",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    keywords="benchmark, training, time to accuracy, pytorch, machine learning",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: System :: Benchmark",
    ],
    python_requires=">=3.11",
    packages=[*find_packages(include=["bench*", "kernels*", "paceline*", "pipelines*", "results*"]), "configs"],
    package_data={
        "configs": ["**/*.yaml"],
        "kernels.cpu": ["csrc/*", "csrc/*/*"],
        "paceline": ["py.typed"],
        "pipelines": ["data/sources/*.txt"],
        "results": ["**/*.json", "**/*.jsonl", "peaks.yaml", "page/page.*", "page/script/*.js", "published/**/*.yaml"],
    },
    install_requires=[
        "torch>=2.11",
        "torchvision>=0.26",
        "accelerate>=1.10",
        "nvidia-ml-py>=13",
        "numpy>=2.0",
        "pydantic>=2.9",
        "PyYAML>=6.0",
        "rich>=13.9",
        "scikit-learn>=1.6",
        "scipy>=1.14",
        "psutil>=6.0",
        "filelock>=3.16",
        "joblib>=1.4",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["paceline = paceline.__main__:main"]},
)
