// The list of controllers: their descriptions, profiles and limits.

import { aha1542 } from './aha1542.ts';
import { ahci } from './ahci.ts';
import type { ControllerDescription, Profile } from './description.ts';
import { lsi53c895a } from './lsi53c895a.ts';
import { nvme } from './nvme.ts';
import { piixIde } from './piix-ide.ts';
import { virtioBlk } from './virtio-blk.ts';

export * from './description.ts';
export { aha1542, ahci, lsi53c895a, nvme, piixIde, virtioBlk };

/** Every controller, in the order of age. */
export const CONTROLLERS: readonly ControllerDescription[] = [
  aha1542,
  piixIde,
  ahci,
  nvme,
  virtioBlk,
  lsi53c895a,
];

/** The controller of that name, undefined when there is none. */
export function findController(kind: string): ControllerDescription | undefined {
  return CONTROLLERS.find((description) => description.kind === kind);
}

/** The profile of that name, of any controller, with its controller. */
export function findProfile(
  name: string,
): { description: ControllerDescription; profile: Profile } | undefined {
  for (const description of CONTROLLERS) {
    const profile = description.profiles.find((candidate) => candidate.name === name);
    if (profile !== undefined) return { description, profile };
  }
  return undefined;
}
