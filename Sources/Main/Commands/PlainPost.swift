import Glibc

/// One HTTP/1.1 POST over a connection of its own, for commands. Blocks.
struct PlainPost {
    var host: String
    var port: String
    var path: String

    private static let timeout = 10
    private static let maximumHead = 16 << 10

    /// - Parameter url: `http://HOST[:PORT]`, also with a path, which does not matter.
    init(url: String, path: String) throws {
        guard url.hasPrefix("http://") else {
            throw CommandError("\(url) is not a URL of a proxy: http://HOST:PORT is")
        }
        let authority = url.dropFirst("http://".count).prefix { $0 != "/" }
        let parts = authority.split(separator: ":", omittingEmptySubsequences: false)
        if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") {
            host = String(authority[authority.index(after: authority.startIndex)..<end])
            let rest = authority[authority.index(after: end)...]
            port = rest.hasPrefix(":") ? String(rest.dropFirst()) : "80"
        } else {
            host = String(parts[0])
            port = parts.count > 1 ? String(parts[1]) : "80"
        }
        guard !host.isEmpty, let number = Int(port), (1...65_535).contains(number) else {
            throw CommandError("\(url) is not a URL of a proxy: http://HOST:PORT is")
        }
        self.path = path
    }

    /// - Returns: status and body of the answer.
    /// - Throws: `CommandError` when there is none within ten seconds, or a longer one than `limit`.
    func send(_ body: [UInt8], limit: Int) throws -> (status: Int, body: [UInt8]) {
        let socket = try connect()
        defer { close(socket) }
        let head =
            "POST \(path) HTTP/1.1\r\nHost: \(host):\(port)\r\nContent-Type: application/json\r\n"
            + "Content-Length: \(body.count)\r\nConnection: close\r\n\r\n"
        try write(Array(head.utf8) + body, to: socket)
        let answer = try readAll(socket, limit: limit + Self.maximumHead)
        guard let end = Self.find(Array("\r\n\r\n".utf8), in: answer) else {
            throw CommandError("\(host):\(port) does not speak HTTP")
        }
        let line = String(decoding: answer[..<end].prefix { $0 != 13 }, as: UTF8.self).split(separator: " ")
        guard line.count >= 2, line[0].hasPrefix("HTTP/1."), let status = Int(line[1]) else {
            throw CommandError("\(host):\(port) does not speak HTTP")
        }
        return (status, Array(answer[(end + 4)...]))
    }

    private func connect() throws -> Int32 {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, port, &hints, &found)
        guard code == 0 else { throw CommandError("\(host) is not known: \(String(cString: gai_strerror(code)))") }
        defer { freeaddrinfo(found) }
        var problem = "no address"
        var next = found
        while let address = next?.pointee {
            let descriptor = socket(address.ai_family, address.ai_socktype | Int32(SOCK_CLOEXEC.rawValue), 0)
            var time = timeval(tv_sec: Self.timeout, tv_usec: 0)
            let size = socklen_t(MemoryLayout<timeval>.size)
            setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, size)
            setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, size)
            if descriptor >= 0, Glibc.connect(descriptor, address.ai_addr, address.ai_addrlen) == 0 {
                return descriptor
            }
            problem = CommandError.systemText(errno)
            if descriptor >= 0 { close(descriptor) }
            next = address.ai_next
        }
        throw CommandError("can't connect to \(host):\(port): \(problem)")
    }

    private func write(_ bytes: [UInt8], to socket: Int32) throws {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress! + done, $0.count - done, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw CommandError("\(host):\(port): \(CommandError.systemText(errno))") }
            done += count
        }
    }

    private func readAll(_ socket: Int32, limit: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = recv(socket, &block, block.count, 0)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw CommandError("\(host):\(port): \(CommandError.systemText(errno))") }
            if count == 0 { return bytes }
            bytes.append(contentsOf: block[..<count])
            guard bytes.count <= limit else { throw CommandError("the answer of \(host):\(port) is too long") }
        }
    }

    private static func find(_ pattern: [UInt8], in bytes: [UInt8]) -> Int? {
        guard bytes.count >= pattern.count else { return nil }
        return (0...bytes.count - pattern.count).first { bytes[$0...].starts(with: pattern) }
    }
}
