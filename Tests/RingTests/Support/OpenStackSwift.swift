import Ring
import Testing

/// OpenStack Swift's own ring code (Debian's `python3-swift`), run in a process of its own as the reference.
struct OpenStackSwift {
    let directory: Directory

    static let prefix = "prefix of the test"
    static let suffix = "suffix of the test"

    init() throws {
        directory = try Directory()
    }

    @discardableResult
    func python(_ script: String, _ arguments: [String] = []) throws -> String {
        let run = try Subprocess("/usr/bin/python3", ["-c", script] + arguments, in: directory)
        try #require(
            run.status == 0,
            "OpenStack Swift is the reference here: apt-get install python3-swift\n\(run.output)\n\(run.errors)")
        return run.output
    }

    /// `swift-ring-builder` with each of these lists of arguments in turn. Exit code 1 is a warning.
    func ringBuilder(_ commands: [[String]]) throws {
        let lines = commands.map { $0.joined(separator: "\t") }
        try directory.write(lines.joined(separator: "\n").utf8, to: "commands")
        try python(Self.ringBuilderScript)
    }

    /// Compares partition, primaries and handoffs of random paths with those the reference finds in a file.
    func expectSamePlaces(_ ring: Ring, file: String, paths count: Int, seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let paths = (0..<count).map { _ in Self.randomPath(&random) }
        let lines = paths.map { path in
            path.map { $0.utf8.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }.joined(separator: " ")
        }
        try directory.write(lines.joined(separator: "\n").utf8, to: "paths")
        let expected = try python(Self.placesScript, [file, Self.prefix, Self.suffix]).split(separator: "\n")
        #expect(expected.count == count)
        let hasher = PathHasher(prefix: Array(Self.prefix.utf8), suffix: Array(Self.suffix.utf8))
        var differences = 0
        var handoffs = [Int: String]()
        for (path, line) in zip(paths, expected) {
            let hash = hasher.hash(path: ("/" + path.joined(separator: "/")).utf8)
            let partition = ring.partition(of: hash)
            func list(_ ids: some Sequence<Int>) -> String { ids.map(String.init).joined(separator: ",") }
            let others = handoffs[partition] ?? list(ring.handoffs(of: partition))
            handoffs[partition] = others
            let found = "\(partition) \(list(ring.primaries(of: hash))) \(others)"
            if found != line, differences < 5 {
                differences += 1
                Issue.record("seed \(seed), \(path): ours \(found), theirs \(line)")
            }
        }
    }

    private static func randomPath(_ random: inout SeededGenerator) -> [String] {
        let letters = Array("abcXYZ019-_ .%é漢🙂")
        func name(_ letters: [Character]) -> String {
            String((0..<Int.random(in: 1...20, using: &random)).map { _ in letters.randomElement(using: &random)! })
        }
        return (0..<Int.random(in: 1...3, using: &random)).map { name($0 == 2 ? letters + ["/"] : letters) }
    }

    private static let ringBuilderScript = """
        import sys
        from swift.cli.ringbuilder import main
        for line in open('commands'):
            try:
                main(['swift-ring-builder'] + line.rstrip('\\n').split('\\t'))
            except SystemExit as end:
                assert end.code in (None, 0, 1), (line, end.code)
        """

    private static let placesScript = """
        import sys
        import swift.common.utils as utils
        from swift.common.ring import Ring
        utils.HASH_PATH_PREFIX = sys.argv[2].encode()
        utils.HASH_PATH_SUFFIX = sys.argv[3].encode()
        ring = Ring(sys.argv[1])
        ids = lambda nodes: ','.join(str(node['id']) for node in nodes)
        handoffs = {}
        for line in open('paths'):
            part, nodes = ring.get_nodes(*[bytes.fromhex(x).decode() for x in line.split()])
            if part not in handoffs: handoffs[part] = ids(ring.get_more_nodes(part))
            print(part, ids(nodes), handoffs[part])
        """
}
