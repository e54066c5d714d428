/**
 * What a medium keeps in the host's own memory: that is part of a snapshot of the machine. What is in a file or
 * behind a network is not: it must not change between a snapshot and its restore, which an overlay sees to.
 */

/** A medium's content at one moment. Nobody changes it. */
export interface ContentState {
  toBytes(): Uint8Array;
}

export interface MediumContent {
  /** Costs little: what is held is shared until it changes. */
  capture(): ContentState;
  /** `state` as revert() takes it. Throws MediumError if it is of a medium of another size or kind. */
  accept(state: ContentState): ContentState;
  /** Puts back what accept() or capture() has returned. Operations that are under way no longer change anything. */
  revert(state: ContentState): void;
}
