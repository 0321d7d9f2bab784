#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Viewers in headless Chromium against a real httpd; ends with one line "N passed, N failed".
exec /usr/bin/python3 "$(dirname "$0")/run.py" "$@"
