//! Nothing but a home for the benchmarks beside this file: README.md tells what each measures.
