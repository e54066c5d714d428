/** What is wrong, for callers that act on it; the message says it to people, with the path. */
export type MediumReason =
  | 'missing'
  /** It is there, and not what was asked for. */
  | 'exists'
  | 'permission'
  /** A directory, a device, a pipe. */
  | 'not-a-file'
  /** Empty, or not a whole number of sectors. */
  | 'size'
  | 'read-only'
  /** No room for what is to be written. */
  | 'no-space'
  /** Saved content that belongs to another medium. */
  | 'mismatch'
  | 'closed'
  /** The image's own structures contradict themselves, or lead nowhere. */
  | 'format'
  /** Sound, as far as can be told, but of a kind that is refused by name. */
  | 'unsupported'
  /** Everything else that a medium says when it fails. */
  | 'failed';

/** A medium cannot be opened, or failed. Inside a running machine it becomes the device's medium error. */
export class MediumError extends Error {
  override readonly name = 'MediumError';
  readonly reason: MediumReason;
  /** Bytes of the read or write that were moved before it failed. */
  readonly transferred: number;

  constructor(
    message: string,
    reason: MediumReason,
    options: { readonly transferred?: number; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.reason = reason;
    this.transferred = options.transferred ?? 0;
  }
}

/** The error of a part of a longer operation, `before` bytes into it. */
export function laterError(error: unknown, before: number): unknown {
  if (!(error instanceof MediumError)) return error;
  const { message, reason, cause } = error;
  return new MediumError(message, reason, { transferred: before + error.transferred, cause });
}
