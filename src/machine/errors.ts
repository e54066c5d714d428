/** A caller asked for something that the machine cannot be or do: the message says what, where and what would be right. */
export class MachineError extends Error {
  override readonly name: string = 'MachineError';
}

/** A snapshot that cannot be taken now, or not be restored here: the message says what differs. Nothing was changed. */
export class SnapshotError extends MachineError {
  override readonly name = 'SnapshotError';
}

/** The CPU touched a physical address where no RAM is. On a board that is a machine check. */
export class BusError extends MachineError {
  override readonly name = 'BusError';
  constructor(
    /** First address of the access. */
    readonly address: number,
    /** Bytes of the access. */
    readonly length: number,
  ) {
    super(`no RAM at 0x${address.toString(16)}, ${length} byte${length === 1 ? '' : 's'}`);
  }
}
