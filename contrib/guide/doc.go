// Package guide is for its test alone: it holds what the guide shows against the program.
package guide
