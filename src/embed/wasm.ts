// The hardware's module, from whatever the embedder has of it.

import { loadModule } from '../machine/index.ts';
import { EmbedError } from './errors.ts';
import type { EmbedOptions } from './types.ts';

/** Compiles the module, unless it is compiled. Throws EmbedError where nothing sensible was given. */
export async function moduleOf(wasm: EmbedOptions['wasm']): Promise<WebAssembly.Module> {
  try {
    return await compiled(wasm);
  } catch (error) {
    if (wasm === undefined || error instanceof EmbedError || !(error instanceof Error)) throw error;
    throw new EmbedError(`wasm is not the hardware's module: ${error.message}`);
  }
}

async function compiled(wasm: EmbedOptions['wasm']): Promise<WebAssembly.Module> {
  if (wasm === undefined) return loadModule();
  if (wasm instanceof WebAssembly.Module) return wasm;
  if (wasm instanceof URL) return loadModule('release', wasm);
  if (typeof wasm === 'string') return loadModule('release', addressOf(wasm));
  if (wasm instanceof Uint8Array) return WebAssembly.compile(wasm as BufferSource);
  if (wasm instanceof ArrayBuffer) return WebAssembly.compile(wasm);
  throw new EmbedError('wasm must be a WebAssembly.Module, its bytes, or a URL');
}

/** Relative addresses are a page's; what runs in no page gives whole ones. */
function addressOf(text: string): URL {
  const base: unknown = Reflect.get(Reflect.get(globalThis, 'location') ?? {}, 'href');
  try {
    return new URL(text, typeof base === 'string' ? base : undefined);
  } catch {
    throw new EmbedError(`wasm is "${text}", which is no URL; a file is one as file:///…`);
  }
}
