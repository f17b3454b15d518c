internal import Glibc

/// Where a file is mapped into this process: LMDB does not say.
enum MappedFile {
    /// The lowest address of a map that begins with the file, out of /proc/self/maps (proc_pid_maps(5)); nil when there is none.
    static func address(of path: String) -> UnsafeMutableRawPointer? {
        var status = stat()
        guard stat(path, &status) == 0, let maps = fopen("/proc/self/maps", "re") else { return nil }
        defer { fclose(maps) }
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(line) }
        while getline(&line, &capacity, maps) > 0, let text = line {
            guard let start = parse(String(cString: text), inode: UInt64(status.st_ino), device: UInt64(status.st_dev))
            else { continue }
            return UnsafeMutableRawPointer(bitPattern: start)
        }
        return nil
    }

    /// The start of the map on a line like `7f00a000-7f00b000 rw-s 00000000 fe:00 1234  /path`, if it is this file's.
    static func parse(_ line: String, inode: UInt64, device: UInt64) -> UInt? {
        let fields = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
        guard fields.count >= 5, UInt64(fields[4]) == inode, UInt64(fields[2], radix: 16) == 0 else { return nil }
        let numbers = fields[3].split(separator: ":").compactMap { UInt64($0, radix: 16) }
        // As in glibc's gnu_dev_major and gnu_dev_minor.
        let major = device >> 8 & 0xFFF | device >> 32 & 0xFFFF_F000
        let minor = device & 0xFF | device >> 12 & 0xFFFF_FF00
        guard numbers == [major, minor] else { return nil }
        return fields[0].split(separator: "-").first.flatMap { UInt($0, radix: 16) }
    }
}
