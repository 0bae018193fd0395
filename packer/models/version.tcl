puts stdout [version]
