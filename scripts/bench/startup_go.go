// SPDX-License-Identifier: MIT
// For the startup bench: a program that does nothing.
package main

func main() {}
