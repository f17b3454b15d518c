import Access
import CKernel
import StorageWire

extension ProgramReport {
    /// This program.
    static let own = ProgramReport(version: Ringfort.version, build: ownBuild, wire: WireVersion.spoken)

    /// As much of the linker's mark as tells builds apart.
    private static var ownBuild: String {
        var bytes = [UInt8](repeating: 0, count: 6)
        let count = Int(kernel_build_id(&bytes, Int32(bytes.count)))
        return String(decoding: ByteText.hex(Array(bytes[..<count])), as: UTF8.self)
    }

    /// For operators, as in "0.2.0 (build 9956c63bc7df)".
    var text: String { build.isEmpty ? version : "\(version) (build \(build))" }
}
