/**
 * `backplane/v86`: any of the controllers in a machine of v86 (https://github.com/copy/v86), with its npm build as it
 * is. Make the emulator with `autostart: false`, attach, then run it:
 *
 *     const emulator = new V86({ … , autostart: false });
 *     await attach(emulator, { controller: 'nvme', media: { bytes: 64 << 20 } });
 *     await emulator.run();
 */

export type { EmbeddedController, MediaOptions } from '../embed/index.ts';
export { EmbedError } from '../embed/index.ts';
export { type AttachOptions, attach } from './attach.ts';
export type { V86Emulator } from './cpu.ts';
