import ArgumentParser
import Ring
import StorageWire

/// `ringfort verify`: every copy of some objects, read and checked where it is.
struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Read and check every copy of an object, or of all objects below a container or an account.",
        discussion: """
            Each device reads its copy wholly from its disk, past all memory, and checks it; nothing but the verdict
            travels. A copy is ok, missing, older (than the newest one), damaged or unreachable. Damaged ones are put into
            quarantine. Copies that are not ok are printed, with --json all of them. The exit status is 1 when one is not ok.

            Examples:
              ringfort verify AUTH_admin --data ./data
              ringfort verify AUTH_admin/photos --data ./data
              ringfort verify AUTH_admin/photos/cat.jpg --data ./data --json
            """)

    @Option(help: "The data directory of the store.")
    var data: String

    @Flag(help: "Answer as JSON.")
    var json = false

    @Argument(help: "ACCOUNT, ACCOUNT/CONTAINER or ACCOUNT/CONTAINER/OBJECT, the account with its prefix (AUTH_...).")
    var name: String

    func run() throws {
        let parts = name.split(separator: "/", maxSplits: 2, omittingEmptySubsequences: false).map { Array($0.utf8) }
        guard parts.allSatisfy({ !$0.isEmpty }) else {
            throw ValidationError("\(name) is not ACCOUNT[/CONTAINER[/OBJECT]]")
        }
        let questions = try ReplicaQuestions(ClusterDirectory(data))
        defer { questions.close() }
        let verification = Verification(
            questions: questions, objects: try questions.ring("object"), containers: try questions.ring("container"),
            accounts: try questions.ring("account"), report: VerifyReport(json: json))
        let isKnown: Bool
        switch parts.count {
        case 1: isKnown = try verification.account(parts[0])
        case 2: isKnown = try verification.container(parts[0], parts[1])
        default: isKnown = try verification.object(parts[0], parts[1], parts[2], listed: nil)
        }
        // A listing that nobody could read says nothing about what there is.
        guard isKnown || verification.report.sums.unreadListings > 0 else { throw CommandError("there is no \(name)") }
        verification.report.finish()
        guard verification.report.sums.isSound else { throw ExitCode(1) }
    }
}

/// Walks down from what was named to the objects below.
private struct Verification {
    let questions: ReplicaQuestions
    let objects: Ring
    let containers: Ring
    let accounts: Ring
    let report: VerifyReport

    private var hasher: PathHasher { questions.identity.hasher }

    /// Each gives whether there is such a thing.
    func account(_ account: [UInt8]) throws -> Bool {
        let rows = rows(accounts, .account, hasher.hash(account: account), Self.text(account))
        return try rows.forEach { _ = try container(account, $0.name) }
    }

    func container(_ account: [UInt8], _ container: [UInt8]) throws -> Bool {
        let hash = hasher.hash(account: account, container: container)
        let rows = rows(containers, .container, hash, Self.text(account, container))
        return try rows.forEach { _ = try object(account, container, $0.name, listed: $0.timestamp) }
    }

    func object(_ account: [UInt8], _ container: [UInt8], _ object: [UInt8], listed: Timestamp?) throws -> Bool {
        let hash = hasher.hash(account: account, container: container, object: object)
        let devices = questions.devices(objects, hash)
        let replies = try questions.ask(devices) { device in
            .verifyObject(ObjectAddress(device: device, policy: 0, hash: hash))
        }
        let isAbsent = replies.allSatisfy { if case .absent = $0 { true } else { false } }
        guard listed != nil || !isAbsent, let verdicts = CopyVerdict.judge(replies, listed: listed) else {
            return false
        }
        report.add(Self.text(account, container, object), devices, verdicts)
        return true
    }

    private func rows(_ ring: Ring, _ kind: TableKind, _ hash: PathHash, _ name: String) -> MergedRows {
        MergedRows(questions: questions, ring: ring, kind: kind, hash: hash) { device, verdict in
            report.addUnread(listing: name, device, verdict)
        }
    }

    private static func text(_ parts: [UInt8]...) -> String {
        String(decoding: Array(parts.joined(separator: [UInt8(ascii: "/")])), as: UTF8.self)
    }
}
