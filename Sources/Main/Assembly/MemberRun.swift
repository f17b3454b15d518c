import Glibc
import HTTPServer
import Logging
import NIOCore

/// Serves a member until it is asked to stop.
struct MemberRun {
    let member: Member
    let places: MemberOptions.Places
    let process: ServerProcess

    let replication: ReplicationTimes

    /// Blocks until the end.
    ///
    /// - Parameters:
    ///   - isFounding: whether this start has made the cluster.
    ///   - firstKey: the key of the first user, if it was made just now.
    func run(isFounding: Bool, firstKey: [UInt8]?, data: String, json: Bool) throws {
        try member.serve(places, replication: replication, isFounding: isFounding, process: process)
        try NodeFile(
            process: Int(getpid()), host: places.listensEverywhere ? "127.0.0.1" : places.listen,
            storagePort: member.storagePort
        ).write(to: member.directory)
        if let proxy = member.proxy {
            let ready = ReadyLine(
                listen: places.listen, port: proxy.listener.address.port ?? places.port, data: data)
            try ready.writeCredentials(to: member.directory, firstKey: firstKey)
            ready.print(json: json)
        } else {
            ReadyAddress(kind: "storage", address: "\(places.host):\(member.storagePort)").print(json: json)
        }
        try process.waitForStop()
        process.logger.notice("Stopping", metadata: ["waits_for_seconds": "30"])
        member.close()
        process.end()
    }
}
