-- SPDX-License-Identifier: MIT
-- The module of the coop bench reports when it is loaded.
require("coop")
