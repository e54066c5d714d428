// Disks that a part of a scenario leaves to later ones: the same bytes on another machine.

import { type Disk, MachineError } from '../machine/index.ts';
import { type Medium, overlay } from '../media/index.ts';
import type { Scenario, ScenarioPart } from './schema.ts';

/** Bytes that are copied at once. */
const PIECE = 2 ** 20;

/** The disks that a later part asks for; no others are kept. */
export class KeptDisks {
  readonly #scenario: Scenario;
  /** By the number of the part. */
  readonly #disks = new Map<number, Disk>();

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
  }

  /** The disk that a part goes on with; null: it wants a fresh one. Throws MachineError when that part did not run. */
  before({ disk, title }: ScenarioPart): Disk | null {
    if (disk === 'fresh') return null;
    const kept = this.#disks.get(disk);
    if (kept === undefined)
      throw new MachineError(`"${title}" wants the disk of part ${disk}, which was not run`);
    return kept;
  }

  /** A part has run. */
  keep(part: ScenarioPart, disk: Disk): void {
    const { parts } = this.#scenario;
    const number = parts.indexOf(part) + 1;
    if (parts.some((other) => other.disk === number)) this.#disks.set(number, disk);
  }
}

/** The medium for the next part; undefined: the disk's bytes are in its machine. What a mistake writes is not kept. */
export function mediumOf({ medium }: Disk, bounce: boolean): Medium | undefined {
  if (medium === null) return undefined;
  return bounce ? medium : overlay(medium);
}

export function copyDisk(from: Disk, to: Disk): void {
  for (let at = 0; at < from.bytes; at += PIECE)
    to.write(at, from.read(at, Math.min(PIECE, from.bytes - at)));
}
