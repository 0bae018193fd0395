"""The README on a fresh system: a minimal Debian, the packages that it names, an ordinary user, its commands."""
