import Daemon
import Glibc
import Ring
import StorageWire

/// What `ringfort verify` prints, object by object: nothing of it is kept.
final class VerifyReport {
    private static let silence: UInt64 = 2_000_000_000

    private let json: Bool
    private(set) var sums = VerifySums()
    private var isFirst = true
    private var spoke = MonotonicClock.system.nanoseconds

    init(json: Bool) {
        self.json = json
    }

    func add(_ name: String, _ devices: [RingDevice], _ verdicts: [CopyVerdict]) {
        sums.add(verdicts)
        if json {
            let copies = zip(devices, verdicts).map { device, verdict in
                JSONValue.object([
                    JSONMember("device", .string(device.device)), JSONMember("id", .integer(device.id)),
                    JSONMember("state", .string(verdict.rawValue)),
                ])
            }
            let value = JSONValue.object([JSONMember("name", .string(name)), JSONMember("copies", .array(copies))])
            print(separator)
            print(value.text, terminator: "")
        } else {
            for (device, verdict) in zip(devices, verdicts) where verdict != .ok {
                print(verdict.rawValue.padded(12), device.device.padded(8), name)
            }
        }
        progress(name)
    }

    /// A replica of a listing that could not be read: names that only it knows were not looked at.
    func addUnread(listing name: String, _ device: RingDevice, _ verdict: CopyVerdict) {
        sums.unreadListings += 1
        complain("the listing of \(name) on \(device.device) is \(verdict.rawValue)")
    }

    func finish() {
        if json {
            var members = [JSONMember("objects", .integer(sums.objects)), JSONMember("copies", .integer(sums.total))]
            members += CopyVerdict.allCases.map { JSONMember($0.rawValue, .integer(sums[$0])) }
            members.append(JSONMember("unread_listings", .integer(sums.unreadListings)))
            if isFirst { print(separator) }
            print("],\n\"sums\": \(JSONValue.object(members).text)}")
        } else {
            let states = CopyVerdict.allCases.map { "\(sums[$0]) \($0.rawValue)" }.joined(separator: ", ")
            print("\(sums.objects) objects, \(sums.total) copies: \(states)")
            if sums.unreadListings > 0 { print("\(sums.unreadListings) replicas of listings could not be read") }
        }
        Terminal.flush()
    }

    /// What comes before the next object.
    private var separator: String {
        defer { isFirst = false }
        return isFirst ? "{\"objects\": [" : ","
    }

    private func progress(_ name: String) {
        let now = MonotonicClock.system.nanoseconds
        guard now - spoke >= Self.silence else { return }
        spoke = now
        complain("\(sums.objects) objects so far, at \(name)")
    }

    /// To the standard error stream.
    private func complain(_ text: String) {
        let bytes = Array("\(text)\n".utf8)
        _ = write(STDERR_FILENO, bytes, bytes.count)
    }
}
