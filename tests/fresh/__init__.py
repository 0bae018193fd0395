"""The README on a fresh machine: a minimal Debian, the packages that it names, an ordinary user, its commands."""
