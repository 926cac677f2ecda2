// Package bench measures the real programs: what a connection costs. Its benchmarks take no part in the tests.
package bench
