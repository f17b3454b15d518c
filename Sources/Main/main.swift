import ArgumentParser

/// The commands of the one binary.
struct Ringfort: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ringfort", abstract: "A distributed object store.", subcommands: [RingCommand.self])
}

Ringfort.main()
