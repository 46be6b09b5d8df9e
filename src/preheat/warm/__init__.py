"""Keep-warm schedules: invocations sent at the same moment, so that as many environments stay alive."""
