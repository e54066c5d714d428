// Every import of the module. They serve media that the host holds (files, overlays, networks), and RAM that is the
// host's (addExternal()), nothing else.
//
// RAM: `low` and `high` are the halves of a physical address, all bytes of an access lie in one region. What is called
// here must not call the module. Bytes of the module's memory are at the offset `to`, `from` or `at`.

/** Copies `bytes` bytes of the host's RAM into the module's memory at `to`. */
export declare function memoryRead(low: u32, high: u32, to: u32, bytes: u32): void;

/** Copies `bytes` bytes of the module's memory at `from` to the host's RAM. */
export declare function memoryWrite(low: u32, high: u32, from: u32, bytes: u32): void;

/**
 * Copies between consecutive bytes of the module's memory, from `at` on, and `runs` entries of the run list from the
 * `first` on: their lengths are in AT_RUNS, their addresses in AT_RUN_ADDRESSES. `toMemory`: to the host's RAM.
 */
export declare function memoryMove(first: u32, runs: u32, at: u32, toMemory: u32): void;

// Media: `request` is the request's handle: no two requests have the same one within a million uses of its slot, so
// a late answer is known for what it is. In each of these functions, and before mediaReady(), the host may
// call mediaFail() to say where and how the medium failed.

/**
 * A request to a host medium begins. Returns 0 when data can be moved at once; 1 when the host will call
 * mediaReady() once it can. Verifying asks the fault plan alone and never comes here.
 */
export declare function mediaStart(
  disk: u32,
  request: u32,
  operation: u32,
  sectorLow: u32,
  sectorHigh: u32,
  sectors: u32,
): u32;

/**
 * Moves bytes `offset` to `offset` + `bytes` of the request between the medium and the `runs` first entries
 * of the run list, which hold exactly as many; those with an offset of 0 are in the host's RAM. Returns how many bytes it moved: fewer than asked is a medium
 * error at that byte, unless mediaFail() said otherwise.
 */
export declare function mediaTransfer(
  disk: u32,
  request: u32,
  offsetLow: u32,
  offsetHigh: u32,
  bytes: u32,
  runs: u32,
  toMemory: u32,
): u32;

/**
 * The data of the request was moved, as far as it will be. The host flushes, discards, or stores what it
 * gathered, and forgets the request. Returns MEDIA_OK, another status of a failure, or MEDIA_PENDING:
 * mediaReady() follows.
 */
export declare function mediaFinish(disk: u32, request: u32): u32;

/** The request is given up (reset, abort): the host forgets it. What was moved so far stays moved. */
export declare function mediaDrop(disk: u32, request: u32): void;
