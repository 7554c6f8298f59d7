#Requires -Version 5.1
<#
.SYNOPSIS
    Tag the pictures of a dataset by a model; count, check and edit their captions. Every change can be undone.
.DESCRIPTION
    Takes a folder of pictures, or a profile. When nothing else is asked for, pictures without a caption are tagged.
    Edits apply to all captions, or to those that -Find names.
    Exit codes: 0 done, 1 you can fix it, 2 wrong words, 3 our bug, 13 stopped (the next start goes on).
.EXAMPLE
    .\tag.ps1 D:\Datasets\junwool -Preset style
.EXAMPLE
    .\tag.ps1 D:\Datasets\junwool -Check
.EXAMPLE
    .\tag.ps1 D:\Datasets\junwool -Find '1girl and not solo' -Remove signature -AddFirst junwool
#>
[CmdletBinding()]
param(
    # A folder of pictures, or a profile.
    [Parameter(Position = 0)] [string] $Dataset,
    # Tag also where edits are named: those are made to what is written.
    [switch] $Tag,
    # A tagger by name, owner/name, or a folder with model.onnx.
    [string] $Model,
    # What captions leave to the LoRA itself: none, style, character or concept.
    [ArgumentCompleter({ 'none', 'style', 'character', 'concept' })] [string] $Preset,
    # Word in front; auto; FOLDER=WORD for each folder. With -Check: the word that every caption should have.
    [string[]] $Trigger,
    # Captions that are there already: keep, merge or overwrite.
    [ArgumentCompleter({ 'keep', 'merge', 'overwrite' })] [string] $Existing,
    # Lower: more tags, more of them wrong.
    [string] $Threshold,
    # The same for names of characters.
    [string] $CharacterThreshold,
    # Tags that are not written, * for anything.
    [string[]] $Exclude,
    # long_hair instead of long hair.
    [switch] $Underscores,
    # Names of characters before the other tags.
    [switch] $CharacterFirst,
    # name_(series) as two tags.
    [switch] $CharacterExpand,
    # Write the rating tag: no, first or last.
    [ArgumentCompleter({ 'no', 'first', 'last' })] [string] $Rating,
    # Order of the tags: file (the tagger's list) or score.
    [ArgumentCompleter({ 'file', 'score' })] [string] $Order,
    # Colour under transparent places, as in the bake.
    [string] $Background,
    # Pictures at a time.
    [string] $BatchSize,
    # Where the tagger runs: cuda or cpu.
    [ArgumentCompleter({ 'cuda', 'cpu' })] [string] $Device,
    # Ask for a newer tagger than the one that is here.
    [switch] $RefreshModel,
    # All tags with their counts.
    [switch] $Stats,
    # Write all tags with their counts into this text file.
    [string] $TagList,
    # Only pictures whose tags fit: tags, and, or, not, brackets, * for anything.
    [string] $Find,
    # Look at all pictures and edit their tags on a page in the browser.
    [switch] $Review,
    # With -Review: where on this computer the page is; a free one by itself.
    [string] $Port,
    # With -Review: do not open a browser, only say the address.
    [switch] $NoBrowser,
    # What is odd in pictures and captions, and a sheet of all of them.
    [switch] $Check,
    # How many tokens of a caption the bake will read: 75, 150 or 225.
    [ArgumentCompleter({ '75', '150', '225' })] [string] $Tokens,
    # The resolution of the bake, in px.
    [string] $Resolution,
    # Move pictures to _rejected: auto (what -Check rejects), kinds of findings, names, or all with -Find.
    [string[]] $Reject,
    # Move pictures to N_<concept>, where they are seen less often: N, then auto (the poor ones), kinds or names.
    [string[]] $Demote,
    # Tags to put at the end, where missing.
    [string[]] $Add,
    # Tags to put at the front.
    [string[]] $AddFirst,
    # Tags to take away.
    [string[]] $Remove,
    # One tag by another: 1boy=1girl
    [string[]] $Replace,
    # Keep the first of tags that stand there twice.
    [switch] $Dedupe,
    # Sort tags: name or count.
    [ArgumentCompleter({ 'name', 'count' })] [string] $Sort,
    # Apply the profile's tag.rules to the captions that are there.
    [switch] $Rules,
    # Show what would be changed.
    [switch] $DryRun,
    # Take back the change of this number; 0 is the newest.
    [string] $Undo,
    # What was changed here, newest first.
    [switch] $History,
    # What that entry of -History changed; 0 is the newest.
    [string] $Diff,
    # Never wait for a key at the end.
    [switch] $NoPause
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# Import-Module takes [ and ] in a path for wildcards
Import-Module -Name ([WildcardPattern]::Escape("$PSScriptRoot/ps/launch.psm1")) -Force
Invoke-Lorabake -Script 'tag.py' -Bound $PSBoundParameters -Positional 'Dataset'
exit $LASTEXITCODE
