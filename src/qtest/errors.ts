// What goes wrong on the server's side of the protocol.

/** The command line, or a request at run time, asks for what cannot be: the message says what and what would be right. */
export class QtestError extends Error {
  override readonly name = 'QtestError';
  /** The class that QMP names it by. */
  readonly kind: QmpErrorClass;

  constructor(message: string, kind: QmpErrorClass = 'GenericError') {
    super(message);
    this.kind = kind;
  }
}

export type QmpErrorClass = 'GenericError' | 'CommandNotFound' | 'DeviceNotFound';
