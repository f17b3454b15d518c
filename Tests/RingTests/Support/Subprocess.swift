import Glibc

/// Runs a program to its end; its output goes through files, so that neither side can block.
struct Subprocess {
    let status: Int32
    let output: String
    let errors: String

    init(_ program: String, _ arguments: [String], in directory: Directory) throws {
        let outputPath = directory.path + "/stdout"
        let errorPath = directory.path + "/stderr"
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 1, outputPath, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, errorPath, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        // The module hides posix_spawn_file_actions_addchdir_np, so env(1) changes the directory.
        let env = "/usr/bin/env"
        var argv = ([env, "--chdir", directory.path, program] + arguments).map { strdup($0) } + [nil]
        defer { argv.forEach { free($0) } }
        var pid: pid_t = 0
        let failure = posix_spawn(&pid, env, &actions, nil, &argv, environ)
        guard failure == 0 else { throw Failure(reason: "\(program): \(String(cString: strerror(failure)))") }
        var result: Int32 = 0
        while waitpid(pid, &result, 0) < 0, errno == EINTR {}
        status = result
        output = String(decoding: try Directory.read(outputPath), as: UTF8.self)
        errors = String(decoding: try Directory.read(errorPath), as: UTF8.self)
    }

    struct Failure: Error, CustomStringConvertible {
        let reason: String
        var description: String { reason }
    }
}

/// A new directory that disappears with its owner.
final class Directory {
    let path: String

    init() throws {
        var template = Array("/tmp/ring-tests-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Subprocess.Failure(reason: "mkdtemp: \(errno)") }
        path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }

    deinit {
        if let stream = opendir(path) {
            while let entry = readdir(stream) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                unlink(path + "/" + name)
            }
            closedir(stream)
        }
        rmdir(path)
    }

    func write(_ bytes: some Sequence<UInt8>, to name: String) throws {
        guard let file = fopen(path + "/" + name, "w") else { throw Subprocess.Failure(reason: "\(name): \(errno)") }
        defer { fclose(file) }
        let bytes = Array(bytes)
        guard fwrite(bytes, 1, bytes.count, file) == bytes.count else {
            throw Subprocess.Failure(reason: "\(name): \(errno)")
        }
    }

    func read(_ name: String) throws -> [UInt8] {
        try Self.read(path + "/" + name)
    }

    static func read(_ path: String) throws -> [UInt8] {
        guard let file = fopen(path, "r") else { throw Subprocess.Failure(reason: "\(path): \(errno)") }
        defer { fclose(file) }
        var bytes = [UInt8]()
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = fread(&buffer, 1, buffer.count, file)
            if count == 0 { return bytes }
            bytes += buffer[..<count]
        }
    }
}
