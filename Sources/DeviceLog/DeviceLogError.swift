/// Why a device could not do what was asked.
package enum DeviceLogError: Error, Equatable, Sendable {
    /// The record is not in memory and the caller said that it must not block; try again on another thread.
    case wouldBlock
    /// A checksum did not match. The entry is put into quarantine.
    case corrupt
    /// Something is there, but its bytes are damaged, or a rebuild lost records whose names are unknown, so that
    /// absence proves nothing.
    case quarantined
    /// Free space is at the reserve.
    case full
    /// The queue or another limit of the log is reached; try later.
    case busy
    /// A name, metadata or body beyond the limits of the format.
    case tooLarge
    /// A system call failed. After a failed write the device takes no more writes until it is opened again.
    case io(errno: Int32)
    /// The directory belongs to another cluster, device or format.
    case refused(reason: String)
    /// Another process, or this one, has the directory open.
    case inUse
    case closed
}

extension DeviceLogError {
    /// A file of a format that this program can't read: what it says must be neither guessed nor taken for damage.
    static func otherFormat(_ path: String, _ found: some BinaryInteger, known: some BinaryInteger) -> DeviceLogError {
        let writer = Int(found) > Int(known) ? "a newer" : "an older"
        return .refused(
            reason:
                "\(path) has format \(found), and this program knows \(known): \(writer) ringfort wrote it. Start that one, "
                + "or empty the device's directory, and the device is filled by the others")
    }
}
