// esbuild turns these files into their text.
declare module "*.py" {
  const text: string;
  export default text;
}
