import ArgumentParser
import Glibc

/// Where a member of a cluster listens and is reached. What is not given is as it was at the last start.
struct MemberOptions: ParsableArguments {
    @Option(help: "The port for clients (8080); 0 takes any that is free.")
    var port: Int?

    @Option(help: "The port for other nodes (6200); 0 takes that of the last start or any that is free.")
    var storagePort: Int?

    @Option(
        help: ArgumentHelp(
            "The address or name under which other nodes reach this one.", discussion: "Without it, that of --listen."))
    var advertise: String?

    static let defaultPort = 8080
    static let defaultStoragePort = 6200

    func validate() throws {
        if let port { try checkPort(port, "--port") }
        if let storagePort { try checkPort(storagePort, "--storage-port") }
    }

    /// What holds for this start, with what was remembered of the last.
    func settle(_ file: inout MemberFile, listen: String?) -> Places {
        file.listen = listen ?? file.listen
        file.port = port ?? file.port
        // Others know the port of the last start: any that is free means that one, if it is.
        file.storagePort = storagePort == 0 ? file.storagePort ?? 0 : storagePort ?? file.storagePort
        file.advertise = advertise ?? file.advertise
        return Places(
            listen: file.listen ?? ServerOptions.defaultListen, port: file.port ?? Self.defaultPort,
            storagePort: file.storagePort ?? Self.defaultStoragePort, mayTakeAnyStoragePort: storagePort == 0,
            advertise: file.advertise)
    }

    /// Addresses and ports of a member.
    struct Places {
        var listen: String
        var port: Int
        var storagePort: Int
        /// When `storagePort` is taken.
        var mayTakeAnyStoragePort: Bool
        var advertise: String?

        var listensEverywhere: Bool { listen == "0.0.0.0" || listen == "::" }

        /// Where others reach the node: only this machine can when it listens everywhere and nothing else was said.
        var host: String { advertise ?? (listensEverywhere ? "127.0.0.1" : listen) }
    }

    /// The name of this machine, as far as it can name a node.
    static var machineName: String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "node" }
        let bytes = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        let name = String(decoding: bytes, as: UTF8.self).split(separator: ".").first.map(String.init) ?? "node"
        return String(name.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") ? $0 : "-" }.prefix(48))
    }
}
