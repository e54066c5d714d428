// Data pointers of commands: PRP entries with a list, or an SGL with one segment. Both are written into a slot's own
// memory, which holds as many as the largest transfer needs and lies in one page. References are those of nvme.ts.

import { NVME_SGL_DATA, NVME_SGL_LAST_SEGMENT } from '../../assembly/nvme/regs.ts';
import type { PhysMem } from '../machine/phys-mem.ts';
import type { SegmentList } from './driver.ts';

const PAGE_BYTES = 4096;
const TWO_32 = 2 ** 32;

/** The two halves of a command's data pointer, in four dwords. One object is written again for each command. */
export class DataPointer {
  readonly words = new Uint32Array(4);
  readonly #memory: PhysMem;
  /** The list's entry that waits for its neighbour: two go into memory at once. */
  #held = 0;
  #entries = 0;

  constructor(memory: PhysMem) {
    this.#memory = memory;
  }

  none(): void {
    this.words.fill(0);
  }

  /** One contiguous piece that lies in one page. */
  piece(address: number): void {
    this.#set(0, address);
    this.#set(2, 0);
  }

  /** [1] 4.4: one data block stands in the command, more in a last segment at `list`. */
  sgl(segments: SegmentList, list: number): void {
    const { count, addresses, lengths } = segments;
    const { words } = this;
    if (count === 1) {
      this.#set(0, addresses[0] as number);
      words[2] = lengths[0] as number;
      words[3] = NVME_SGL_DATA << 24;
      return;
    }
    for (let i = 0; i < count; i++) {
      const address = addresses[i] as number;
      const bytes = lengths[i] as number;
      this.#memory.write4x32(
        list + 16 * i,
        address >>> 0,
        (address / TWO_32) >>> 0,
        bytes,
        NVME_SGL_DATA << 24,
      );
    }
    this.#set(0, list);
    words[2] = 16 * count;
    words[3] = NVME_SGL_LAST_SEGMENT << 24;
  }

  /**
   * [1] 4.3: the first entry may begin inside a page, the others are whole pages; from three pages on they stand in a
   * list. False: the segments leave gaps that PRPs cannot express.
   */
  prp(segments: SegmentList, list: number): boolean {
    const { count, addresses, lengths } = segments;
    this.#entries = 0;
    this.#set(0, addresses[0] as number);
    this.#set(2, 0);
    for (let i = 0; i < count; i++) {
      const start = addresses[i] as number;
      const end = start + (lengths[i] as number);
      if (i > 0 && start % PAGE_BYTES !== 0) return false;
      if (i < count - 1 && end % PAGE_BYTES !== 0) return false;
      let page = i > 0 ? start : start - (start % PAGE_BYTES) + PAGE_BYTES;
      for (; page < end; page += PAGE_BYTES) this.#entry(page, list);
    }
    if (this.#entries === 1) this.#set(2, this.#held);
    else if (this.#entries > 1) {
      this.#flush(list);
      this.#set(2, list);
    }
    return true;
  }

  #entry(page: number, list: number): void {
    if ((this.#entries & 1) === 1) {
      const held = this.#held;
      this.#memory.write4x32(
        list + 8 * (this.#entries - 1),
        held >>> 0,
        (held / TWO_32) >>> 0,
        page >>> 0,
        (page / TWO_32) >>> 0,
      );
    } else {
      this.#held = page;
    }
    this.#entries++;
  }

  #flush(list: number): void {
    if ((this.#entries & 1) === 0) return;
    const at = list + 8 * (this.#entries - 1);
    this.#memory.write32(at, this.#held >>> 0);
    this.#memory.write32(at + 4, (this.#held / TWO_32) >>> 0);
  }

  #set(at: number, address: number): void {
    this.words[at] = address >>> 0;
    this.words[at + 1] = (address / TWO_32) >>> 0;
  }
}
