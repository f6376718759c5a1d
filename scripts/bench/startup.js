// SPDX-License-Identifier: MIT
// For the startup bench: a script that does nothing.
