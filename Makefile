# The two commands: `make start` (a running instance with a finished first run) and `make test` (everything checked).

.DEFAULT_GOAL := help
.PHONY: help start stop test quick bench docker docs

help:
	@echo "make start   build, start a local instance, execute a first run in it"
	@echo "make stop    stop that instance"
	@echo "make test    install what the tests need, then format, lints and all tests"
	@echo "make quick   format, lints and the tests that need neither Docker nor the Python client"
	@echo "make bench   measure the figures of docs/src/performance.md and print them as a table"
	@echo "make docker  a Docker engine and the default run image, built from Debian packages"

# Release binaries end up in target/release.
start:
	@tools/start

stop:
	@target/release/codalab-service stop --local

test:
	@tools/setup-tests
	@tools/test

quick:
	@tools/test quick

bench:
	@tools/bench

docker:
	@tools/docker

docs:
	mdbook build docs
